//! What befalls the daemon's two processes, from signals to a worker that cannot die: the broker
//! goes on, and the deposits stay.

mod signals;
