// SPDX-License-Identifier: GPL-2.0

//! The translations that a device has asked userspace for.
//!
//! A queue asks for one at a time, so there is room for all of them in the device, and a guest
//! cannot make it grow.

use crate::{
    vhost::{
        message::{
            self,
            MSG_SIZE, //
        },
        uapi::QUEUES,
    },
    virtqueue::iotlb::Miss,
};

/// A translation that a queue waits for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    miss: Miss,
    /// Whether the message is a `struct vhost_msg_v2`.
    v2: bool,
    /// The number of misses before this one.
    nth: u64,
    /// Whether userspace has read the message.
    read: bool,
}

/// A message that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The index of its queue.
    pub(crate) queue: usize,
    /// The number of messages before it.
    nth: u64,
}

/// The translations that the queues of a device wait for; see the [module documentation](self).
#[derive(Debug, Default)]
pub(crate) struct Misses {
    wanted: [Option<Wanted>; QUEUES],
    count: u64,
}

impl Misses {
    /// Adds a message for the queue with this index, unless the queue waits for a translation
    /// already. Returns whether it was added.
    pub(crate) fn add(&mut self, queue: usize, miss: Miss, v2: bool) -> bool {
        let Some(slot @ None) = self.wanted.get_mut(queue) else {
            return false;
        };
        *slot = Some(Wanted {
            miss,
            v2,
            nth: self.count,
            read: false,
        });
        self.count = self.count.wrapping_add(1);
        true
    }

    /// Returns whether there is a message that was not read.
    pub(crate) fn has_unread(&self) -> bool {
        self.wanted.iter().flatten().any(|wanted| !wanted.read)
    }

    /// Returns the oldest message that was not read, and which one it is. It counts as read from
    /// then on.
    pub(crate) fn read(&mut self) -> Option<(Asked, [u8; MSG_SIZE])> {
        let unread = self.wanted.iter_mut().enumerate();
        let unread = unread.filter_map(|(at, slot)| Some((at, slot.as_mut()?)));
        let (queue, wanted) = unread
            .filter(|(_, wanted)| !wanted.read)
            .min_by_key(|(_, wanted)| wanted.nth)?;
        wanted.read = true;
        let asked = Asked {
            queue,
            nth: wanted.nth,
        };
        Some((asked, message::encode(&wanted.miss, wanted.v2)))
    }

    /// Forgets a message that was read. Its queue may have sent another one since.
    pub(crate) fn lose(&mut self, asked: &Asked) {
        if let Some(slot) = self.wanted.get_mut(asked.queue) {
            slot.take_if(|wanted| wanted.nth == asked.nth);
        }
    }

    /// Forgets what the queue with this index waits for.
    pub(crate) fn forget(&mut self, queue: usize) {
        if let Some(slot) = self.wanted.get_mut(queue) {
            *slot = None;
        }
    }

    /// Called when the `size` bytes at `iova` are mapped. Returns the queues that have waited for
    /// an address among these. Messages that were not read stay.
    pub(crate) fn resolve(&mut self, iova: u64, size: u64) -> [bool; QUEUES] {
        self.wanted.each_mut().map(|slot| {
            let resolved = slot.take_if(|wanted| {
                let offset = wanted.miss.iova.checked_sub(iova);
                wanted.read && offset.is_some_and(|offset| offset < size)
            });
            resolved.is_some()
        })
    }

    /// Forgets all messages. Returns the queues that wait for one.
    pub(crate) fn clear(&mut self) -> [bool; QUEUES] {
        self.wanted.each_mut().map(|slot| slot.take().is_some())
    }
}
