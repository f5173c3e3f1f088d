"""The server: HeroJobs' own API as JSON-RPC 2.0 over HTTP and WebSocket, described by OpenRPC."""
