// SPDX-License-Identifier: GPL-2.0

//! The device IOTLB: reading the messages of queues that miss a translation, and executing those
//! that userspace writes.
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
    kapi::uaccess::access_ok,
    vhost::{
        device::Device,
        endpoint::Endpoint,
        message::{
            self,
            Message,
            MSG_SIZE,
            READ_SIZE, //
        },
        misses::Misses,
    },
    virtqueue::iotlb::{
        Mapping,
        Miss, //
    },
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

    /// Forgets all messages.
    pub(super) fn clear(&self) {
        self.state.lock().misses.clear();
    }

    /// Adds the message of a queue; see [`Misses::add`].
    pub(super) fn add(&self, queue: usize, miss: Miss, v2: bool) {
        if self.state.lock().misses.add(queue, miss, v2) {
            self.wait.notify_all();
        }
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
        let (queue, bytes) = loop {
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
            self.state.lock().misses.forget(queue);
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

impl<E: Endpoint> Device<E> {
    /// Executes a message that userspace has written. `copy` copies its beginning and returns the
    /// length.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an invalid message, `EFAULT` for one that cannot be executed.
    pub(crate) fn write_message(&self, copy: impl FnOnce(&mut [u8]) -> usize) -> Result<usize> {
        let mut bytes = [0; READ_SIZE];
        let len = copy(&mut bytes);
        let message = message::decode(&bytes, len)?;
        let _state = self.state().lock();
        match message {
            Some(Message::Update(mapping)) => self.update(&mapping)?,
            Some(Message::Invalidate { iova, size }) => {
                for queue in self.queues() {
                    let memory = &mut queue.state.lock().memory;
                    memory.iotlb().ok_or(EFAULT)?.remove(iova, size)?;
                }
            }
            None => return Err(EFAULT),
        }
        Ok(MSG_SIZE)
    }

    /// Adds a translation to the IOTLB of both queues, and runs those that have waited for it.
    fn update(&self, mapping: &Mapping) -> Result {
        let Mapping {
            iova,
            size,
            uaddr,
            perm,
        } = *mapping;
        let is_used = perm & 3 != 0;
        if uaddr.checked_add(size).is_none() || (is_used && !access_ok(uaddr, size)) {
            return Err(EFAULT);
        }
        for queue in self.queues() {
            let reserved = queue.state.lock().memory.iotlb().ok_or(EFAULT)?.reserve();
            reserved.map_err(|_| EFAULT)?;
        }
        for queue in self.queues() {
            let added = queue
                .state
                .lock()
                .memory
                .iotlb()
                .ok_or(EFAULT)?
                .add(mapping);
            added.map_err(|_| EFAULT)?;
        }
        let resolved = self.messages().state.lock().misses.resolve(iova, size);
        for (queue, _) in self.queues().iter().zip(resolved).filter(|(_, r)| *r) {
            queue.state.lock().queue();
        }
        Ok(())
    }
}
