"""One composition root per role: what a process of that role is made of."""
