import { type Static, Type } from '@fastify/type-provider-typebox';
import { List } from './shapes.js';

const NotApplied = Type.Object({
  setting: Type.String({ description: 'A setting, or an export, such as `export vm1`' }),
  why: Type.String(),
});
export type NotApplied = Readonly<Static<typeof NotApplied>>;

export const ReloadReport = Type.Object({
  applied: List(Type.String(), { description: 'What has changed, such as `export vm1: added`' }),
  notApplied: List(NotApplied, { description: 'What the configuration says, but is not in effect' }),
});
export type ReloadReport = Readonly<Static<typeof ReloadReport>>;
