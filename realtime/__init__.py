"""The use cases, one file per noun, above the packages fanout, cluster, transport, schema and support."""
