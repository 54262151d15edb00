"""The queue's side of the function: messages that come in, the order of their work, and outcomes that go out."""
