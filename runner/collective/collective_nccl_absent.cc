#include <stdexcept>

#include "runner/collective/collective_nccl.h"

namespace squant::runner {
namespace {

constexpr const char* kAbsent = "this program was built without NCCL";

}  // namespace

std::string why_no_nccl() { return kAbsent; }
NcclId make_nccl_id() { throw std::runtime_error(kAbsent); }
std::unique_ptr<Collective> make_nccl_collective(const NcclGroup&, const std::string&) {
  throw std::runtime_error(kAbsent);
}

}  // namespace squant::runner
