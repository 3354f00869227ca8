"""Those who publish jobs and steer the factory: the client library, the command line, the demonstration."""
