//! The server’s half of a connection.
