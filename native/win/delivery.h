#pragma once
#include "core/delivery_queue.h"
#include "win/srw_lock.h"

namespace iocp {

using Delivery = DeliveryQueue<SrwLock>;

}  // namespace iocp
