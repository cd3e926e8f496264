"""A stand-in Amazon over HTTP: a separate program that shares no code with orderdrain. See README.md."""
