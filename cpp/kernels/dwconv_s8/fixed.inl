// The fixed scheme's requantization, integers only. Included from tile.inl in place of its own.

template <class V>
struct Requant {
  typename V::H zp;
  typename V::B lo, hi;
  OCTAVO_INLINE explicit Requant(const DwconvS8Row& r)
      : zp(V::set1_h(int16_t(r.zp))), lo(V::set1_b(uint8_t(r.lo))), hi(V::set1_b(uint8_t(r.hi))) {}
};

constexpr bool serves(DwconvS8Out out) { return out == DwconvS8Out::u8_fast; }

template <class V>
OCTAVO_INLINE auto load_scale(const DwconvS8Row& r, int at) {
  return make_twice(V::load_i(r.multiplier + at), V::load_i(r.shift + at));
}

template <class V, DwconvS8Out kOut, class Scales>
OCTAVO_INLINE typename V::I scaled(typename V::I acc, const Scales& s, const Requant<V>&) {
  return twice(acc, s);
}
