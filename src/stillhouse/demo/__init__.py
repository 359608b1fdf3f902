"""The demo: the whole loop on generated questions, with every production part in its place and nothing acted.

`stations` is the loop, `gateway` the server it starts, `client` what an application would do, `table` what it ends with.
"""
