"""One adapter per outside thing: broker, database, objects, network, and the settings that say where they are."""
