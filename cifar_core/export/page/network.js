// A convolutional network in plain JavaScript, run in a Worker.
// Maps are Float32Array, height × width × channels. Kernels are outputs × inputs, depthwise kernels positions × channels.

function unpack(weights, bytes) {
  return weights.map(({ offset, size, scales }) => {
    if (!scales) return new Float32Array(bytes, offset, size);
    const rounded = new Int16Array(bytes, offset, size);
    const inputs = size / scales.length;
    return Float32Array.from(rounded, (value, i) => value * scales[Math.floor(i / inputs)]);
  });
}

const OPERATORS = {
  scale: (x, { factor, offset }) => Float32Array.from(x, (value) => value * factor + offset),

  resize(x, { input: [height, width, channels], output: [rows, columns] }) {
    const y = new Float32Array(rows * columns * channels);
    const place = (i, side, from) => {
      const at = Math.max(((i + 0.5) * from) / side - 0.5, 0); // half-pixel centers
      const low = Math.min(Math.floor(at), from - 1);
      return [low, Math.min(low + 1, from - 1), at - low];
    };
    for (let i = 0, o = 0; i < rows; i++) {
      const [top, bottom, down] = place(i, rows, height);
      for (let j = 0; j < columns; j++) {
        const [left, right, across] = place(j, columns, width);
        for (let c = 0; c < channels; c++, o++) {
          const at = (row, column) => x[(row * width + column) * channels + c];
          const above = at(top, left) + (at(top, right) - at(top, left)) * across;
          const below = at(bottom, left) + (at(bottom, right) - at(bottom, left)) * across;
          y[o] = above + (below - above) * down;
        }
      }
    }
    return y;
  },

  conv(x, { input, output: [rows, columns, channels], kernel, bias, side, stride, limit }) {
    const columnsOfPixels = side === 1 && stride === 1 ? x : patches(x, input, rows, columns, side, stride);
    return multiply(columnsOfPixels, rows * columns, side * side * input[2], kernel, channels, bias, limit);
  },

  depthwise(x, { input: [height, width], output: [rows, columns, channels], kernel, bias, side, stride, limit }) {
    const y = new Float32Array(rows * columns * channels);
    const above = before(height, rows, side, stride);
    const left = before(width, columns, side, stride);
    for (let i = 0, o = 0; i < rows; i++)
      for (let j = 0; j < columns; j++, o += channels) {
        y.set(bias, o);
        for (let a = 0; a < side; a++) {
          const row = i * stride + a - above;
          if (row < 0 || row >= height) continue;
          for (let b = 0; b < side; b++) {
            const column = j * stride + b - left;
            if (column < 0 || column >= width) continue;
            const from = (row * width + column) * channels;
            const weight = (a * side + b) * channels;
            for (let c = 0; c < channels; c++) y[o + c] += x[from + c] * kernel[weight + c];
          }
        }
      }
    clip(y, limit);
    return y;
  },

  dense: (x, { input: [size], output: [units], kernel, bias, limit }) => multiply(x, 1, size, kernel, units, bias, limit),

  add: (x, { other }) => x.map((value, i) => value + other[i]),

  mean(x, { input: [height, width, channels] }) {
    const y = new Float32Array(channels);
    for (let i = 0; i < x.length; i++) y[i % channels] += x[i];
    return y.map((value) => value / (height * width));
  },

  softmax(x) {
    const most = Math.max(...x);
    const powers = x.map((value) => Math.exp(value - most));
    const total = powers.reduce((sum, value) => sum + value);
    return powers.map((value) => value / total);
  },
};

// Number of zeros that "same" padding adds before a side.
const before = (from, to, side, stride) => Math.max((to - 1) * stride + side - from, 0) >> 1;

function clip(y, limit) {
  if (limit !== null) for (let i = 0; i < y.length; i++) y[i] = y[i] < 0 ? 0 : y[i] > limit ? limit : y[i];
}

// im2col: the inputs of each output pixel as a row.
function patches(x, [height, width, channels], rows, columns, side, stride) {
  const size = side * side * channels;
  const y = new Float32Array(rows * columns * size);
  const above = before(height, rows, side, stride);
  const left = before(width, columns, side, stride);
  for (let i = 0, o = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      for (let a = 0; a < side; a++)
        for (let b = 0; b < side; b++, o += channels) {
          const row = i * stride + a - above;
          const column = j * stride + b - left;
          if (row < 0 || row >= height || column < 0 || column >= width) continue;
          const from = (row * width + column) * channels;
          for (let c = 0; c < channels; c++) y[o + c] = x[from + c];
        }
  return y;
}

// x (pixels × inputs) times the transposed kernel (outputs × inputs), in 4 × 4 tiles: sixteen sums stay in registers.
function multiply(x, pixels, inputs, kernel, outputs, bias, limit) {
  const y = new Float32Array(pixels * outputs);
  const wide = outputs - (outputs % 4);
  let p = 0;
  for (; p + 4 <= pixels; p += 4)
    for (let o = 0; o < wide; o += 4) {
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0; // prettier-ignore
      let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0; // prettier-ignore
      let xa = p * inputs, xb = xa + inputs, xc = xb + inputs, xd = xc + inputs; // prettier-ignore
      let k0 = o * inputs, k1 = k0 + inputs, k2 = k1 + inputs, k3 = k2 + inputs; // prettier-ignore
      for (const end = xa + inputs; xa < end; xa++, xb++, xc++, xd++, k0++, k1++, k2++, k3++) {
        const w0 = kernel[k0], w1 = kernel[k1], w2 = kernel[k2], w3 = kernel[k3]; // prettier-ignore
        const va = x[xa], vb = x[xb], vc = x[xc], vd = x[xd]; // prettier-ignore
        a0 += va * w0; a1 += va * w1; a2 += va * w2; a3 += va * w3; // prettier-ignore
        b0 += vb * w0; b1 += vb * w1; b2 += vb * w2; b3 += vb * w3; // prettier-ignore
        c0 += vc * w0; c1 += vc * w1; c2 += vc * w2; c3 += vc * w3; // prettier-ignore
        d0 += vd * w0; d1 += vd * w1; d2 += vd * w2; d3 += vd * w3; // prettier-ignore
      }
      let at = p * outputs + o;
      y[at] = a0; y[at + 1] = a1; y[at + 2] = a2; y[at + 3] = a3; at += outputs; // prettier-ignore
      y[at] = b0; y[at + 1] = b1; y[at + 2] = b2; y[at + 3] = b3; at += outputs; // prettier-ignore
      y[at] = c0; y[at + 1] = c1; y[at + 2] = c2; y[at + 3] = c3; at += outputs; // prettier-ignore
      y[at] = d0; y[at + 1] = d1; y[at + 2] = d2; y[at + 3] = d3; // prettier-ignore
    }
  for (let row = 0; row < pixels; row++)
    for (let o = row < p ? wide : 0; o < outputs; o++) {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += x[row * inputs + i] * kernel[o * inputs + i];
      y[row * outputs + o] = sum;
    }
  for (let i = 0; i < y.length; i++) y[i] += bias[i % outputs];
  clip(y, limit);
  return y;
}

// Returns a function from uint8 (side, side, 3) to float32 (classes,).
function network({ operators, weights }, bytes) {
  const values = unpack(weights, bytes);
  const steps = operators.map((step) => ({ ...step, kernel: values[step.kernel], bias: values[step.bias] }));
  return (pixels) => {
    const maps = [Float32Array.from(pixels)];
    for (const step of steps) {
      const other = step.kind === "add" ? maps[step.from[1]] : undefined;
      maps.push(OPERATORS[step.kind](maps[step.from[0]], { ...step, other }));
    }
    return maps.at(-1);
  };
}

let run;
onmessage = ({ data: { id, model, bytes, images } }) => {
  if (model) run = network(model, bytes);
  else postMessage({ id, probabilities: images.map((pixels) => run(pixels)) });
};
