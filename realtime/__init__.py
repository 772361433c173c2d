"""The live layer: what happens, and who hears of it. The use cases live here, above storage and below both entry points."""
