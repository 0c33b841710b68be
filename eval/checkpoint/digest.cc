#include "eval/checkpoint/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "eval/checkpoint/checkpoint.h"

namespace squant::eval {
namespace {

class Digest {
 public:
  explicit Digest(const EVP_MD* algorithm) : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    check(context_ != nullptr && EVP_DigestInit_ex(context_.get(), algorithm, nullptr) == 1);
  }
  void update(const void* data, std::size_t size) {
    check(EVP_DigestUpdate(context_.get(), data, size) == 1);
  }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
    unsigned int size = 0;
    check(EVP_DigestFinal_ex(context_.get(), raw.data(), &size) == 1);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      constexpr char kDigits[] = "0123456789abcdef";
      text += kDigits[raw[i] >> 4];
      text += kDigits[raw[i] & 15];
    }
    return text;
  }

 private:
  static void check(bool ok) {
    if (!ok) throw std::runtime_error("OpenSSL refused to compute a message digest");
  }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string sha1_hex(std::span<const std::byte> bytes) {
  Digest digest(EVP_sha1());
  digest.update(bytes.data(), bytes.size());
  return digest.hex();
}

class Sha256::State : public Digest {
 public:
  State() : Digest(EVP_sha256()) {}
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
void Sha256::update(const void* data, std::size_t size) { state_->update(data, size); }
std::string Sha256::hex() { return state_->hex(); }

std::string sha256_hex(const void* data, std::size_t size) {
  Digest digest(EVP_sha256());
  digest.update(data, size);
  return digest.hex();
}

std::string sha256_file(const std::string& path) {
  return sha256_file(path, [] {});
}

std::string sha256_file(const std::string& path, const std::function<void()>& progress) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                             &std::fclose);
  if (file == nullptr)
    throw std::invalid_argument(path + ": cannot be opened: " + std::strerror(errno));
  Digest digest(EVP_sha256());
  std::vector<char> buffer(1 << 20);
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    digest.update(buffer.data(), got);
    progress();
  }
  if (std::ferror(file.get()) != 0)
    throw std::invalid_argument(path + ": cannot be read: " + std::strerror(errno));
  return digest.hex();
}

}  // namespace squant::eval
