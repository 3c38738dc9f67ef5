// The words of tile.inl for one x86 vector width. Included with P (intrinsic prefix) by way of the macro below.
// clang-format off
#define OCTAVO_X86_WIDTH(BYTES, P, INT, FLT, LOAD, STORE, ZERO)                                              \
    static constexpr int kBytes = BYTES;                                                                     \
    using B = INT; using I = INT; using F = FLT; using H = INT;                                              \
    static inline B load_b(const uint8_t* p) { return LOAD(reinterpret_cast<const INT*>(p)); }               \
    static inline void store_b(uint8_t* p, B x) { STORE(reinterpret_cast<INT*>(p), x); }                     \
    static inline B zero() { return ZERO(); }                                                                \
    static inline I load_i(const int32_t* p) { return LOAD(reinterpret_cast<const INT*>(p)); }               \
    static inline F load_f(const float* p) { return P##_loadu_ps(p); }                                       \
    static inline void store_f(float* p, F x) { P##_storeu_ps(p, x); }                                       \
    static inline B lo8(B a, B b) { return P##_unpacklo_epi8(a, b); }                                        \
    static inline B hi8(B a, B b) { return P##_unpackhi_epi8(a, b); }                                        \
    static inline B lo16(B a, B b) { return P##_unpacklo_epi16(a, b); }                                      \
    static inline B hi16(B a, B b) { return P##_unpackhi_epi16(a, b); }                                      \
    static inline F to_f(I a) { return P##_cvtepi32_ps(a); }                                                 \
    static inline I to_i(F a) { return P##_cvtps_epi32(a); }                                                 \
    static inline F mul_f(F a, F b) { return P##_mul_ps(a, b); }                                             \
    static inline F min_f(F a, F b) { return P##_min_ps(a, b); }                                             \
    static inline F max_f(F a, F b) { return P##_max_ps(a, b); }                                             \
    static inline F set1_f(float x) { return P##_set1_ps(x); }                                               \
    static inline H set1_h(int16_t x) { return P##_set1_epi16(x); }                                          \
    static inline B set1_b(uint8_t x) { return P##_set1_epi8(char(x)); }                                     \
    static inline H packs32(I a, I b) { return P##_packs_epi32(a, b); }                                      \
    static inline H adds16(H a, H b) { return P##_adds_epi16(a, b); }                                        \
    static inline B packus16(H a, H b) { return P##_packus_epi16(a, b); }                                    \
    static inline B min_u8(B a, B b) { return P##_min_epu8(a, b); }                                          \
    static inline B max_u8(B a, B b) { return P##_max_epu8(a, b); }
// clang-format on
