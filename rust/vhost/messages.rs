// SPDX-License-Identifier: GPL-2.0

//! The messages of queues that miss a translation, and those who read them.
//!
//! # Locking
//!
//! The lock of [`Messages`] is taken last, with or without a queue's lock or the device's.

use kernel::{
    current,
    fs::File,
    prelude::*,
    sync::{
        poll::{
            PollCondVarBox,
            PollTable, //
        },
        Arc,
        Mutex, //
    },
};

use crate::{
    vhost::{
        message::MSG_SIZE,
        misses::Misses,
        uapi::QUEUES, //
    },
    virtqueue::iotlb::Miss, //
};

/// `EPOLLIN | EPOLLRDNORM`.
const READABLE: u32 = 0x41;

/// The messages that userspace can read, and those who wait for them.
#[pin_data]
pub(super) struct Messages {
    #[pin]
    state: Mutex<Open>,
    wait: PollCondVarBox,
}

/// The messages, while there is an IOTLB.
struct Open {
    misses: Misses,
    is_open: bool,
}

impl Messages {
    /// Creates the messages of a device without an IOTLB.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Arc<Self>> {
        let wait = PollCondVarBox::new(
            c"vhost_net_rs::Messages::wait",
            kernel::static_lock_class!(),
        )?;
        Arc::pin_init(
            pin_init!(Self {
                state <- kernel::new_mutex!(
                    Open {
                        misses: Misses::default(),
                        is_open: false,
                    },
                    "vhost_net_rs::Messages::state"
                ),
                wait,
            }),
            GFP_KERNEL,
        )
    }

    /// Called when an IOTLB was created.
    pub(super) fn open(&self) {
        self.state.lock().is_open = true;
    }

    /// Called when the IOTLB was removed: forgets all messages, and ends the reads that wait.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        state.misses.clear();
        self.wait.notify_all();
    }

    /// Forgets all messages. Returns the queues that wait for one.
    pub(super) fn clear(&self) -> [bool; QUEUES] {
        self.state.lock().misses.clear()
    }

    /// Forgets the message of a queue.
    pub(super) fn forget(&self, queue: usize) {
        self.state.lock().misses.forget(queue);
    }

    /// Adds the message of a queue; see [`Misses::add`]. Has no effect without an IOTLB: a run may
    /// end when it has been removed.
    pub(super) fn add(&self, queue: usize, miss: Miss, v2: bool) {
        let mut state = self.state.lock();
        if state.is_open && state.misses.add(queue, miss, v2) {
            self.wait.notify_all();
        }
    }

    /// Called when the `size` bytes at `iova` are mapped. Returns which queues have waited for that;
    /// see [`Misses::resolve`].
    pub(super) fn resolve(&self, iova: u64, size: u64) -> [bool; QUEUES] {
        self.state.lock().misses.resolve(iova, size)
    }

    /// Returns the pending events, and registers for more.
    pub(super) fn poll(&self, file: &File, table: &PollTable<'_>) -> u32 {
        table.register_wait(file, &self.wait);
        if self.state.lock().misses.has_unread() {
            READABLE
        } else {
            0
        }
    }

    /// Reads a message into a buffer of `room` bytes, to which `copy` copies it. If not all of it
    /// was copied, the message is lost. Waits for one unless `nonblocking` is set.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is no message and `nonblocking` is set; `ERESTARTSYS` when a signal is
    /// pending; `EBADFD` when there is no IOTLB.
    pub(super) fn read(
        &self,
        room: usize,
        nonblocking: bool,
        copy: impl FnOnce(&[u8]) -> usize,
    ) -> Result<usize> {
        if room < MSG_SIZE {
            return Ok(0);
        }
        let mut state = self.state.lock();
        let (asked, bytes) = loop {
            if let Some(message) = state.misses.read() {
                break message;
            }
            if nonblocking {
                return Err(EAGAIN);
            }
            if current!().signal_pending() {
                return Err(ERESTARTSYS);
            }
            if !state.is_open {
                return Err(EBADFD);
            }
            // A signal is looked at above.
            let _ = self.wait.wait_interruptible(&mut state);
        };
        drop(state);
        let copied = copy(&bytes);
        if copied < bytes.len() {
            self.state.lock().misses.lose(&asked);
        }
        Ok(copied)
    }
}

/// Asks userspace for translations on behalf of a queue.
pub(super) struct Asker {
    messages: Arc<Messages>,
    /// The index of the queue.
    queue: usize,
    /// Whether messages are `struct vhost_msg_v2`.
    pub(super) v2: bool,
}

impl Asker {
    /// Creates an asker for the queue with this index.
    pub(super) fn new(messages: &Arc<Messages>, queue: usize) -> Self {
        Self {
            messages: messages.clone(),
            queue,
            v2: false,
        }
    }

    /// Asks for the translation of `miss`, unless the queue waits for one already.
    pub(super) fn ask(&self, miss: Miss) {
        self.messages.add(self.queue, miss, self.v2);
    }
}
