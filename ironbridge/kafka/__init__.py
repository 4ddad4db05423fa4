"""Everything that speaks to Kafka: topics, journal, inbox, trail and claims, and the brokers that one command starts."""
