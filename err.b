gatehouse: g.conf: error: cannot be read: no such file

