// Prepares a picture like the app: the largest central square, bicubic with antialiasing as in Pillow

function square(source, width, height, most = 1024) {
  const side = Math.min(width, height);
  const canvas = new OffscreenCanvas(Math.min(side, most), Math.min(side, most));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, (width - side) >> 1, (height - side) >> 1, side, side, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// Returns the pixels of a square canvas at `size` × `size`, uint8 RGB.
function prepared(canvas, size) {
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const rgb = new Uint8ClampedArray(width * width * 3);
  for (let i = 0; i < width * width; i++) for (let c = 0; c < 3; c++) rgb[3 * i + c] = data[4 * i + c];
  const narrow = turned(shrunk(rgb, width, width, size), width, size); // transposed
  return turned(shrunk(narrow, size, width, size), size, size);
}

// Reduces rows × side pixels to rows × size along the second axis.
function shrunk(x, rows, side, size) {
  const scale = Math.max(side / size, 1);
  const y = new Uint8ClampedArray(rows * size * 3);
  for (let j = 0; j < size; j++) {
    const center = ((j + 0.5) * side) / size;
    const first = Math.max(Math.trunc(center - 2 * scale + 0.5), 0);
    const last = Math.min(Math.trunc(center + 2 * scale + 0.5), side);
    const weights = Array.from({ length: last - first }, (_, i) => bicubic((first + i - center + 0.5) / scale));
    const total = weights.reduce((sum, weight) => sum + weight);
    for (let row = 0; row < rows; row++)
      for (let c = 0; c < 3; c++) {
        const sum = weights.reduce((all, weight, i) => all + weight * x[(row * side + first + i) * 3 + c], 0);
        y[(row * size + j) * 3 + c] = Math.round(sum / total);
      }
  }
  return y;
}

function bicubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

function turned(x, rows, columns) {
  const y = new Uint8ClampedArray(x.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      for (let c = 0; c < 3; c++) y[(j * rows + i) * 3 + c] = x[(i * columns + j) * 3 + c];
  return y;
}
