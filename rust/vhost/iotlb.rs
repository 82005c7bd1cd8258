// SPDX-License-Identifier: GPL-2.0

//! The device IOTLB: executes the messages that userspace writes.

use kernel::prelude::*;

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
    },
    virtqueue::iotlb::Mapping, //
};

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
        let resolved = self.messages().resolve(iova, size);
        for (queue, _) in self.queues().iter().zip(resolved).filter(|(_, r)| *r) {
            queue.state.lock().queue();
        }
        Ok(())
    }
}
