"""Ask and tell: the record of events, the state that is folded from them, and who answers."""
