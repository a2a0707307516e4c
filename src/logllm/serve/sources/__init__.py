"""Where lines come from: files that rotate, standard input, journald, syslog, OTLP and Kafka, all behind one contract."""
