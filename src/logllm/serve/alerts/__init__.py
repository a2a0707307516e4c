"""Messages about incidents, to where people look: every one is sent, and none twice on purpose."""
