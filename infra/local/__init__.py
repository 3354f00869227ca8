"""The local stack: Postgres, RabbitMQ and an S3 server as private processes, and what supervises them."""
