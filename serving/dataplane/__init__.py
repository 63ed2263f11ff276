"""The path of a request, without a transport: bind, admit, guard, batch, dispatch, split."""
