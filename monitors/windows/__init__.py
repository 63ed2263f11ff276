"""How a stream of batches is cut into the windows that monitors judge."""
