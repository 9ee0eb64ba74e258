"""How much a client may ask of a server at once; the settings that say so are ServerSettings'.

Texts, bytes and lists inside a request have limits in the protos; queues those of their services.
"""

# What a client of gRPC takes by default. Images travel through the store; the largest messages,
# embeddings of many texts or images, are asked for in parts that fit.
MESSAGE_BYTES = 4 * 2**20
# Tokens of an issuer may take some KiB.
METADATA_BYTES = 16 * 2**10
# Calls at a time: of one connection, where further ones wait, and of the whole server.
CONNECTION_CALLS, SERVER_CALLS = 1000, 4000
# Requests that one call may send.
STREAMED_REQUESTS = 1_000_000
