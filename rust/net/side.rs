// SPDX-License-Identifier: GPL-2.0

//! The two queues of a device, receive and transmit.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        iov::IOV_MAX,
        socket::Socket,
        wait::Interest, //
    },
    net::{
        rx::Rx,
        tx::Tx, //
    },
    vhost::{
        endpoint::Endpoint,
        session::{
            Next,
            Session, //
        },
    },
    virtqueue::path::Path,
};

/// A queue's direction, as seen by the guest.
pub(crate) enum Side {
    /// Receive: from the socket to the guest; queue 0.
    Rx(Rx),
    /// Transmit: from the guest to the socket; queue 1.
    Tx(Tx),
}

impl Endpoint for Side {
    type Backend = Socket;

    fn interest(&self) -> Interest {
        match self {
            Self::Rx(_) => Interest::Readable,
            Self::Tx(_) => Interest::Writable,
        }
    }

    fn buffers_max(&self) -> usize {
        match self {
            Self::Rx(_) => IOV_MAX,
            Self::Tx(_) => 1,
        }
    }

    fn allocate(&mut self) -> Result {
        match self {
            Self::Rx(rx) => rx.allocate(),
            Self::Tx(tx) => tx.allocate(),
        }
    }

    fn free(&mut self) {
        match self {
            Self::Rx(rx) => rx.free(),
            Self::Tx(tx) => tx.free(),
        }
    }

    fn set_backend(&mut self, backend: Option<&Arc<Socket>>) {
        match self {
            Self::Rx(rx) => rx.set_socket(backend.cloned()),
            Self::Tx(tx) => tx.reset(),
        }
    }

    fn holds_memory(&self) -> bool {
        match self {
            Self::Rx(_) => false,
            Self::Tx(tx) => tx.holds_memory(),
        }
    }

    fn keeps_memory(&self) -> bool {
        matches!(self, Self::Tx(_))
    }

    fn spare(&self) -> usize {
        match self {
            Self::Rx(_) => 0,
            Self::Tx(tx) => tx.spare(),
        }
    }

    fn free_spare(&mut self) -> usize {
        match self {
            Self::Rx(_) => 0,
            Self::Tx(tx) => tx.free_spare(),
        }
    }

    fn has_data(&mut self) -> bool {
        match self {
            Self::Rx(rx) => rx.has_data(),
            Self::Tx(_) => false,
        }
    }

    fn serve<P: Path>(&mut self, backend: &Socket, session: &mut Session<'_, P>) -> Next {
        match self {
            Self::Rx(rx) => rx.serve(session),
            Self::Tx(tx) => tx.serve(backend, session),
        }
    }
}
