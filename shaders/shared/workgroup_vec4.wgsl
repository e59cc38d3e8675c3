// The maximum and the sum of a vec4 over a workgroup of 64, for every invocation: through subgroups of any size, or as a tree.

#ifdef subgroup
var<workgroup> firsts: array<vec4<f32>, 64>; // one a subgroup

struct Place {
    lane: u32,
    subgroup: u32,
    subgroups: u32,
    within: u32,
}

fn highest(v: vec4<f32>, place: Place) -> vec4<f32> {
    let own = subgroupMax(v);
    workgroupBarrier();
    if place.within == 0u {
        firsts[place.subgroup] = own;
    }
    workgroupBarrier();
    var top = firsts[0];
    for (var i = 1u; i < place.subgroups; i++) {
        top = max(top, firsts[i]);
    }
    return top;
}

fn total(v: vec4<f32>, place: Place) -> vec4<f32> {
    let own = subgroupAdd(v);
    workgroupBarrier();
    if place.within == 0u {
        firsts[place.subgroup] = own;
    }
    workgroupBarrier();
    var sum = firsts[0];
    for (var i = 1u; i < place.subgroups; i++) {
        sum += firsts[i];
    }
    return sum;
}
#else
var<workgroup> sums: array<vec4<f32>, 64>; // (WORKGROUP)

struct Place {
    lane: u32,
}

fn highest(v: vec4<f32>, place: Place) -> vec4<f32> {
    workgroupBarrier();
    sums[place.lane] = v;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if place.lane < half {
            sums[place.lane] = max(sums[place.lane], sums[place.lane + half]);
        }
    }
    workgroupBarrier();
    return sums[0];
}

fn total(v: vec4<f32>, place: Place) -> vec4<f32> {
    workgroupBarrier();
    sums[place.lane] = v;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if place.lane < half {
            sums[place.lane] += sums[place.lane + half];
        }
    }
    workgroupBarrier();
    return sums[0];
}
#endif
