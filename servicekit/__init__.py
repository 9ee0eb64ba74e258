"""What every service process needs to run, and nothing else.

The modules are a closed list: batching, channels, children, collectors, devices, errors, escaping,
gate, health, help, interceptors, layout, leash, limits, loading, operations, places, ports,
products, registry, runs, server, server_settings, settings, statuses, storage, targets, telemetry,
texts, tls, together, tokens, tracing, validation, values, weights, workload. A function enters only
when two services, or a service and the command line, need it, and no word of the product's domain
appears here.
"""
