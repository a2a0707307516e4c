"""Sessions to scores: LogLLM and every other method, all behind one contract."""
