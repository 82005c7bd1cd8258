// SPDX-License-Identifier: GPL-2.0

//! The file operations of the device node.

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
    seq_print,
    sync::poll::PollTable, //
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
        rx::Rx,
        side::Side,
        tx::Tx, //
    },
    vhost::{
        device::Device, //
    },
    virtqueue::fault::Fault,
};

/// An open file of the device node.
pub(crate) struct NetDevice(Pin<KBox<Device<Side>>>);

#[vtable]
impl MiscDevice for NetDevice {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let sides = [Side::Rx(Rx::new()), Side::Tx(Tx::new())];
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
        let (room, nonblocking) = (iov.len(), is_nonblocking(&kiocb));
        let device = &kiocb.file().0;
        device.read_message(room, nonblocking, |bytes| iov.copy_to_iter(bytes))
    }

    fn write_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let device = &kiocb.file().0;
        device.write_message(|bytes| iov.copy_from_iter(bytes))
    }

    fn show_fdinfo(device: &Self, m: &SeqFile, _file: &File) {
        for (queue, prefix) in device.0.queues().iter().zip(["rx", "tx"]) {
            if let Some(tid) = queue.tid() {
                seq_print!(m, "{}-worker:\t{}\n", prefix, tid);
            }
            queue.stats().show(m, prefix, &Fault::NAMES);
        }
    }
}

impl Node for NetDevice {
    fn poll(device: &Self, file: &File, table: &PollTable<'_>) -> u32 {
        device.0.poll(file, table)
    }
}
