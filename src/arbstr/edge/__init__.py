"""HTTP in.

The server (:mod:`arbstr.edge.server`) is uvicorn's HTTP protocol on httptools with bounds of our own; it runs any ASGI
application, and ours runs under any ASGI server. One extension makes watching the caller cheap:

``scope["extensions"]["arbstr.departure"]`` is a function. Give it one callback without arguments, and it is called at
most once, on the event loop, when the caller leaves before the response is complete: by a FIN, by a lost connection, or
cut off because it did not read, sent a broken body or too slow a one. It is called at once where the caller has already
left, and a second callback replaces the first. It must not block and should not raise. ``receive`` gives
``http.disconnect`` at the same moment, so an application that finds no such extension (another server) watches
``receive`` in a task of its own.

``scope["extensions"]["arbstr.close"]`` is a function without arguments. Call it before the last piece of a response
whose head is already out, and the connection is closed after it: for a stream that ends in an error.
"""
