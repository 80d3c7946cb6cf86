//! Messages, framing and the sans-IO session machines of Reconvene sync.
