//! Bounded channels with any number of senders and receivers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::channel_error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::channel_state::{ChannelState, Outcome, RecvAction, SendAction};
use crate::ops::Wake;
use crate::platform::{Lock as _, Os, Primitives};
use crate::time;
use crate::trace::WaitReason;
use crate::waiter::{Parking, Waiter, checkpoint, unpark_all};

/// A channel without handles: the thin shell around `ChannelState`. Its users count the handles.
///
/// The internal lock is held for one transition; see [`RawMutex`](super::raw::RawMutex) for why that
/// makes it sound and deterministic on every platform. Values are never dropped under it.
pub struct RawChannel<T: Send + 'static, P: Primitives = Os> {
    state: P::Mutex<ChannelState<T, Waiter<P>>>,
}

impl<T: Send + 'static, P: Primitives> RawChannel<T, P> {
    /// An empty channel with one sender and one receiver.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        RawChannel { state: P::Mutex::new(ChannelState::new(capacity)) }
    }

    /// Sends if that is possible at once.
    ///
    /// # Errors
    /// The value, with the reason.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        checkpoint();
        let action = self.state.lock().send(value, None);
        match action.map_err(TrySendError::Full)? {
            SendAction::Sent(receiver) => {
                unpark_all(receiver);
                Ok(())
            }
            SendAction::Disconnected(value) => Err(TrySendError::Disconnected(value)),
            SendAction::Park(_) => unreachable!("nobody to park"),
        }
    }

    /// Sends, parking until there is room or `deadline` passes.
    ///
    /// # Errors
    /// The value, with the reason.
    pub fn send(&self, value: T, deadline: Option<u64>) -> Result<(), SendTimeoutError<T>> {
        let value = match self.try_send(value) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(value)) => {
                return Err(SendTimeoutError::Disconnected(value));
            }
            Err(TrySendError::Full(value)) => value,
        };
        let parking = Parking::prepare(WaitReason::ChanSend);
        let waiter = parking.waiter();
        let action = self.state.lock().send(value, Some(waiter));
        let seat = match action {
            Ok(SendAction::Sent(receiver)) => {
                unpark_all(receiver);
                return Ok(());
            }
            Ok(SendAction::Park(seat)) => seat,
            Ok(SendAction::Disconnected(value)) => {
                return Err(SendTimeoutError::Disconnected(value));
            }
            Err(_) => unreachable!("there is a waiter"),
        };
        let wake = parking.park(deadline);
        let outcome = self.state.lock().sent(seat);
        match outcome {
            Outcome::Done(()) => Ok(()),
            Outcome::Disconnected(value) => Err(SendTimeoutError::Disconnected(value)),
            Outcome::NotServed(value) => {
                assert_eq!(wake, Wake::TimedOut, "a sender was woken for nothing");
                Err(SendTimeoutError::Timeout(value))
            }
        }
    }

    /// Receives if there is something at once.
    ///
    /// # Errors
    /// The reason why there was nothing.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        checkpoint();
        let action = self.state.lock().recv(None);
        match action {
            Some(RecvAction::Received(value, sender)) => {
                unpark_all(sender);
                Ok(value)
            }
            Some(RecvAction::Disconnected) => Err(TryRecvError::Disconnected),
            Some(RecvAction::Park(_)) => unreachable!("nobody to park"),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Receives, parking until there is something or `deadline` passes.
    ///
    /// # Errors
    /// The reason why there was nothing.
    pub fn recv(&self, deadline: Option<u64>) -> Result<T, RecvTimeoutError> {
        match self.try_recv() {
            Ok(value) => return Ok(value),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {}
        }
        let parking = Parking::prepare(WaitReason::ChanRecv);
        let waiter = parking.waiter();
        let action = self.state.lock().recv(Some(waiter));
        let seat = match action {
            Some(RecvAction::Received(value, sender)) => {
                unpark_all(sender);
                return Ok(value);
            }
            Some(RecvAction::Park(seat)) => seat,
            Some(RecvAction::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            None => unreachable!("there is a waiter"),
        };
        let wake = parking.park(deadline);
        let outcome = self.state.lock().received(seat);
        match outcome {
            Outcome::Done(value) => Ok(value),
            Outcome::Disconnected(()) => Err(RecvTimeoutError::Disconnected),
            Outcome::NotServed(()) => {
                assert_eq!(wake, Wake::TimedOut, "a receiver was woken for nothing");
                Err(RecvTimeoutError::Timeout)
            }
        }
    }

    /// Counts one more sender.
    pub fn add_sender(&self) {
        self.state.lock().add_sender();
    }

    /// Counts one more receiver.
    pub fn add_receiver(&self) {
        self.state.lock().add_receiver();
    }

    /// Counts one sender less.
    pub fn drop_sender(&self) {
        checkpoint();
        let woken = self.state.lock().drop_sender();
        unpark_all(woken);
    }

    /// Counts one receiver less.
    pub fn drop_receiver(&self) {
        checkpoint();
        let (woken, unreceived) = self.state.lock().drop_receiver();
        unpark_all(woken);
        drop(unreceived);
    }
}

impl<T: Send + 'static, P: Primitives> fmt::Debug for RawChannel<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawChannel").finish_non_exhaustive()
    }
}

/// A channel that buffers up to `capacity` values.
///
/// Both handles can be cloned, and every value goes to one receiver. Senders and receivers that have to
/// wait park (a plain thread blocks) and are served in order of arrival. With capacity 0 every send
/// waits for its receive.
///
/// When the last [`Sender`] is dropped, receivers still get what is buffered and then an error. When
/// the last [`Receiver`] is dropped, what is buffered is dropped and senders get their values back.
#[must_use]
pub fn channel<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let raw = Arc::new(RawChannel::new(capacity));
    (Sender(Arc::clone(&raw)), Receiver(raw))
}

/// The sending handle of a [`channel`].
pub struct Sender<T: Send + 'static>(Arc<RawChannel<T>>);

impl<T: Send + 'static> Sender<T> {
    /// Sends `value`, waiting for room.
    ///
    /// # Errors
    /// The value, when no receiver is left.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let sent = self.0.send(value, None);
        sent.map_err(|error| SendError(error.into_inner()))
    }

    /// Sends `value` if there is room (capacity 0: if a receiver is waiting).
    ///
    /// # Errors
    /// The value, when there is no room or no receiver is left.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(value)
    }

    /// Sends `value`, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// The value, when the time is up or no receiver is left.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.0.send(value, Some(time::deadline_after(timeout)))
    }
}

/// The receiving handle of a [`channel`].
pub struct Receiver<T: Send + 'static>(Arc<RawChannel<T>>);

impl<T: Send + 'static> Receiver<T> {
    /// Receives a value, waiting for one.
    ///
    /// # Errors
    /// When the channel is empty and no sender is left.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.recv(None).map_err(|_| RecvError)
    }

    /// Receives a value if there is one (capacity 0: if a sender is waiting).
    ///
    /// # Errors
    /// When there is none, or none will ever come.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv()
    }

    /// Receives a value, waiting for one for at most `timeout`.
    ///
    /// # Errors
    /// When the time is up, or none will ever come.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv(Some(time::deadline_after(timeout)))
    }

    /// Receives until the channel is empty and no sender is left.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Receives for as long as that needs no waiting.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }
}

/// What [`Receiver`]'s `into_iter` returns: receives until no value will ever come.
#[derive(Debug)]
pub struct IntoIter<T: Send + 'static>(Receiver<T>);

impl<T: Send + 'static> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T: Send + 'static> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}

/// What both handles have.
macro_rules! handle {
    ($handle:ident, $add:ident, $drop:ident) => {
        impl<T: Send + 'static> $handle<T> {
            /// The number of values in the channel's buffer.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.state.lock().len()
            }

            /// Whether the channel's buffer is empty.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.state.lock().is_empty()
            }

            /// How many values the channel can buffer.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.0.state.lock().capacity()
            }
        }

        impl<T: Send + 'static> Clone for $handle<T> {
            fn clone(&self) -> Self {
                self.0.$add();
                $handle(Arc::clone(&self.0))
            }
        }

        impl<T: Send + 'static> Drop for $handle<T> {
            fn drop(&mut self) {
                self.0.$drop();
            }
        }

        impl<T: Send + 'static> fmt::Debug for $handle<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle)).finish_non_exhaustive()
            }
        }
    };
}

handle!(Sender, add_sender, drop_sender);
handle!(Receiver, add_receiver, drop_receiver);
