// Written once over the vocabulary of simd/<isa>_i8.h. Included inside namespace octavo::<isa>, anonymous.

void bytes(uint8_t* y, int64_t ldy, const uint8_t* x, int64_t ldx, int64_t rows, int64_t cols, const uint8_t* table) {
  const Table t = load_table(table);
  for (int64_t r = 0; r < rows; r++, y += ldy, x += ldx) {
    int64_t n = 0;
    for (; n + kBytes <= cols; n += kBytes) store_b(y + n, lookup(t, load_b(x + n)));
    const int left = int(cols - n);
    if (left > 0) store_b(y + n, lookup(t, load_b(x + n, left)), left);
  }
}

void floats(float* y, const uint8_t* x, int64_t n, const float* table) {
  for (int64_t i = 0; i < n; i++) y[i] = table[x[i]];
}

void flip(uint8_t* y, int64_t ldy, const uint8_t* x, int64_t ldx, int64_t rows, int64_t cols) {
  const VB sign = set1_b(0x80);
  for (int64_t r = 0; r < rows; r++, y += ldy, x += ldx) {
    int64_t n = 0;
    for (; n + kBytes <= cols; n += kBytes) store_b(y + n, xor_b(load_b(x + n), sign));
    const int left = int(cols - n);
    if (left > 0) store_b(y + n, xor_b(load_b(x + n, left), sign), left);
  }
}
