"""Where lines come from: rotating files, standard input, journald, syslog, OTLP and Kafka."""
