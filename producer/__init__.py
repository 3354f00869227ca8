"""What puts jobs into the factory: the client, the command line, and the data that they ship."""
