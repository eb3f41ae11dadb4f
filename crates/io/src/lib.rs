//! AF_XDP, AF_PACKET, steering, the frame ledger.
