"""The contract: what `/openapi.json` says of every call, made of what the handlers use."""
