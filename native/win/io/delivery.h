#pragma once
#include "core/delivery_queue.h"
#include "win/sys/srw_lock.h"

namespace iocp {

using Delivery = DeliveryQueue<SrwLock>;

}  // namespace iocp
