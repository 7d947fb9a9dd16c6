import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { include: ['test/guest/power-cut.ts'], testTimeout: 60_000 } });
