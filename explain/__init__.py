"""Attribution methods and their quality measures; a library without sockets or processes."""
