"""The descriptor pool of our own protobuf files.

Not the default pool: tritonclient registers the same full names (`inference.*`) there from
files of its own, and one pool refuses a second definition. Both live in one process wherever
a replica fronts a remote server.
"""

from google.protobuf import descriptor_pool

POOL = descriptor_pool.DescriptorPool()
