// SPDX-License-Identifier: GPL-2.0

//! The node: what a file of it does.

use kernel::{
    fs::{
        File,
        Kiocb, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    seq_file::SeqFile,
};

use crate::{
    kapi::{
        chardev::{
            is_nonblocking,
            Node, //
        },
        socket::Socket, //
    },
    net::{
        backend::Side,
        rx::Rx,
        tx::Tx, //
    },
    vhost::{
        device::Device,
        iotlb,
        uapi::{
            PKT_WEIGHT,
            WEIGHT, //
        },
    },
};

/// What one run may move, so that no queue starves another.
pub(super) struct Budget {
    /// Packets and lost ones.
    turns: usize,
    packets: usize,
    bytes: usize,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            turns: 0,
            packets: 0,
            bytes: 0,
        }
    }

    /// A packet has gone through.
    #[inline]
    pub(super) fn moved_one(&mut self, bytes: usize) {
        self.turns = self.turns.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A packet was lost, which has taken its time all the same.
    pub(super) fn lost(&mut self) {
        self.turns = self.turns.wrapping_add(1);
    }

    /// Whether another packet may follow one of `len` bytes.
    pub(super) fn has_room_for(&self, len: usize) -> bool {
        self.bytes.saturating_add(len) < WEIGHT
    }

    /// Whether it is another's turn.
    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        self.turns >= PKT_WEIGHT || self.bytes >= WEIGHT
    }

    /// The packets that have gone through, and their bytes without the header of `hlen` bytes
    /// that each had.
    pub(super) fn moved(&self, hlen: usize) -> (usize, usize) {
        let headers = self.packets.saturating_mul(hlen);
        (self.packets, self.bytes.saturating_sub(headers))
    }
}

/// An open file of the node.
pub(crate) struct NetDevice(Pin<KBox<Device<Side>>>);

#[vtable]
impl MiscDevice for NetDevice {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let sides = [Side::Rx(Rx::new()), Side::Tx(Tx::new()?)];
        Ok(KBox::new(Self(Device::new(sides)?), GFP_KERNEL)?)
    }

    fn release(device: KBox<Self>, _file: &File) {
        device.0.shut_down();
    }

    fn ioctl(device: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        device.0.ioctl(cmd, arg, Socket::from_fd)?;
        Ok(0)
    }

    fn read_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        iotlb::read(iov.len(), is_nonblocking(&kiocb))
    }

    fn write_iter(_kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        iotlb::write(|bytes| iov.copy_from_iter(bytes))
    }

    fn show_fdinfo(device: &Self, m: &SeqFile, _file: &File) {
        let [rx, tx] = device.0.queues();
        rx.stats().show(m, "rx");
        tx.stats().show(m, "tx");
    }
}

impl Node for NetDevice {
    fn poll(_device: &Self) -> u32 {
        iotlb::poll()
    }
}
