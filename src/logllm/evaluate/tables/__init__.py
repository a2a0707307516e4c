"""The paper's tables, reproduced cell by cell beside the paper's own figures."""
