//! What travels: ids, vocabulary, codecs and the sans-IO machines that both ends of the chat engine share.
