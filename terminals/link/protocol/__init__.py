"""The vocabulary of the device protocol: messages, topics, signatures, states, frames, and the documents made from them."""
